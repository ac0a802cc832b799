module recipe

go 1.26.0

require go.etcd.io/etcd/server/v3 v3.6.8
require go.etcd.io/etcd/etcdctl/v3 v3.6.8
