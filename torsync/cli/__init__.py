"""The command line: parser, commands, renderers."""
