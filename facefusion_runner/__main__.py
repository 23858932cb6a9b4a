"""`python -m facefusion_runner` is the same as the `facefusion-runner` command."""

from facefusion_runner.cli import main

if __name__ == "__main__":
    main()
