"""The way back: settings of Bridge -> a command line of Megatron-LM that says the same, and what none can say.

Nothing here is a table of its own. The rows of ``mappings/`` are read backwards, which gives words to begin with
(``propose.py``); these are translated like any command line, and corrected until every setting is as it was wanted
(``correct.py``). So a word is right because its translation is.
"""
