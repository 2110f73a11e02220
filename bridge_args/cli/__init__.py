"""The command line of bridge_args; the only room that prints, exits or reads ``sys.argv``."""
