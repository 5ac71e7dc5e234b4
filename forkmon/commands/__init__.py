"""One module a subcommand: parse nothing, decide nothing the pipeline decides, print."""
