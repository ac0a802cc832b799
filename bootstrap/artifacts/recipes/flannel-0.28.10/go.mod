module recipe

go 1.26.0

require (
	github.com/flannel-io/flannel v0.28.10
	github.com/tencentcloud/tencentcloud-sdk-go v1.0.162
)

// These two are parts of the module above in the version that serves them.
replace (
	github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common => ./empty/common
	github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc => ./empty/vpc
)
