"""The roll-up of a run: few enough numbers for a page, kept in ``view.db`` beside the journal.

Nothing but the page depends on it. It may be deleted at any time, and is then made again from the journal.
"""
