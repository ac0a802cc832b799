module recipe

go 1.26.0

require go.etcd.io/etcd/etcdctl/v3 v3.6.14
require go.etcd.io/etcd/etcdutl/v3 v3.6.14
