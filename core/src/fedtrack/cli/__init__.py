"""The command line: one file per command group, thin over the library, nothing heavy imported at start."""


def main() -> None:
    """Run the command line; every user error is shown here, as one sentence, and becomes an exit code."""
    from fedtrack.cli.app import build_app
    from fedtrack.errors import report_errors, system_errors
    from fedtrack.output import tolerated

    with tolerated(), report_errors(), system_errors():
        build_app()()
