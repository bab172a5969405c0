"""`python -m denselab`, which `accelerate launch -m denselab` also runs."""

from denselab.cli.main import main

if __name__ == "__main__":
    main()
