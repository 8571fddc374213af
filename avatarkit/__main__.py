"""``python -m avatarkit``."""

from avatarkit.cli import main

if __name__ == "__main__":
    main()
