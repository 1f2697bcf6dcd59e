# Installs what requirements.txt names.
from=${FUNC_FOLDER:-/kubeless}
[ -f "$from/requirements.txt" ] || exit 0
cp "$from/requirements.txt" .
[ ! -f "$from/constraints.txt" ] || cp "$from/constraints.txt" .
mkdir out
echo "pip install --requirement requirements.txt"
python3 -m pip install --target out --requirement requirements.txt \
	--no-cache-dir --disable-pip-version-check --no-warn-script-location --progress-bar off
