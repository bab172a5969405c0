"""`python -m denselab`, which is also what `accelerate launch -m denselab` runs."""

from denselab.cli.main import main

if __name__ == "__main__":
    main()
