"""bash, read as data; nothing else is known here."""
