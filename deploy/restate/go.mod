module github.com/restate-go/restate/deploy/restate

go 1.26.0

require (
	github.com/restate-go/restate/pkg v0.0.0
	github.com/restate-go/restate/proto v0.0.0
	github.com/restate-go/restate/services/ingress v0.0.0
	github.com/restate-go/restate/services/meta v0.0.0
	github.com/restate-go/restate/services/partition-worker v0.0.0
	github.com/restate-go/restate/services/storage-reader v0.0.0
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/crypto/x509roots/fallback v0.0.0-20261030153154-30a33513ff6d // indirect
)

replace github.com/restate-go/restate/proto => ../../proto

replace github.com/restate-go/restate/pkg => ../../pkg

replace github.com/restate-go/restate/services/ingress => ../../services/ingress

replace github.com/restate-go/restate/services/meta => ../../services/meta

replace github.com/restate-go/restate/services/partition-worker => ../../services/partition-worker

replace github.com/restate-go/restate/services/storage-reader => ../../services/storage-reader
