# Makes $VENV with $PYTHON, or with the first interpreter found that suits (Python 3.10 to 3.13, and
# able to make virtual environments). Called by the Makefile.
set -eu

suits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'; }
can_venv() { "$1" -c 'import ensurepip, venv'; }

chosen=
unable=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    suits "$candidate" 2>/dev/null || continue
    if can_venv "$candidate" 2>/dev/null; then
        chosen=$candidate
        break
    fi
    unable=${unable:-$candidate}
done

if [ -z "$chosen" ]; then
    if [ -n "$unable" ]; then
        echo "$unable cannot make virtual environments: install its venv package (Debian: apt install python3-venv) and run make again" >&2
    elif [ -n "$PYTHON" ]; then
        echo "PYTHON=$PYTHON is not a Python from 3.10 to 3.13: name another one" >&2
    else
        echo "no Python from 3.10 to 3.13 was found: install one (Debian: apt install python3 python3-venv), or name one with make PYTHON=/path/to/python" >&2
    fi
    exit 1
fi

echo "Making $VENV with $("$chosen" -c 'import platform, sys; print("Python", platform.python_version(), "at", sys.executable)')"
"$chosen" -m venv "$VENV"
