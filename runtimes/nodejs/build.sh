# Installs what package.json names: exactly what the lock file says, where there
# is one.
from=${FUNC_FOLDER:-/kubeless}
[ -f "$from/package.json" ] || exit 0
for file in package.json package-lock.json npm-shrinkwrap.json .npmrc; do
	[ ! -f "$from/$file" ] || cp "$from/$file" .
done
verb=install
[ ! -f package-lock.json ] && [ ! -f npm-shrinkwrap.json ] || verb=ci
echo "npm $verb"
node /opt/npm/bin/npm-cli.js $verb --omit=dev --no-audit --no-fund --no-update-notifier
mkdir -p node_modules
mv node_modules out
