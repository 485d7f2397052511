"""``python -m fcn`` is ``fcn``."""

from fcn.cli.main import main

if __name__ == "__main__":
    main()
