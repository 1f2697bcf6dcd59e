# Compiles the function's package, with the server around its handler.
from=${FUNC_FOLDER:-/kubeless} sdk=${SDK:-/sdk} top=$PWD
export GOPATH="$top/go" GOTOOLCHAIN=local CGO_ENABLED=0 GOWORK=off GOFLAGS="-mod=mod -trimpath -buildvcs=false"
if [ -d /cache ]; then
	# What is compiled already is in the image; it looks old, and is not to be removed.
	export GOCACHE=/cache
	date +%s > /cache/trim.txt
fi
mkdir -p src out
cp -rL "$from"/* src
chmod -R u+w src
cd src
[ -f go.mod ] || go mod init function 2> /dev/null
package=$(go list -m)
go mod edit -require=github.com/kubeless/kubeless@v0.0.0 -replace="github.com/kubeless/kubeless=$sdk"
mkdir redoubt-main
cat > redoubt-main/main.go <<END
package main

import (
	function "$package"
	"github.com/kubeless/kubeless/pkg/functions"
)

func main() { functions.Serve(function.$FUNC_HANDLER) }
END
echo "go build $package"
go build -ldflags="-s -w -buildid=" -o "$top/out/handler" ./redoubt-main
