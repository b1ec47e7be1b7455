"""``python -m pytest_ipfs_accelerate.registry``."""

from ..proposals.command import main

if __name__ == "__main__":
    raise SystemExit(main())
