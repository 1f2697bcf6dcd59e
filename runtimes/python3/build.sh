# Installs what requirements.txt names.
cp /kubeless/requirements.txt .
[ ! -f /kubeless/constraints.txt ] || cp /kubeless/constraints.txt .
mkdir out
echo "pip install --requirement requirements.txt"
python3 -m pip install --target out --requirement requirements.txt \
	--no-cache-dir --disable-pip-version-check --no-warn-script-location --progress-bar off
