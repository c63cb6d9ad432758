"""What is measured and how it travels: record -> spool -> journal -> receiver.

Modules here import each other and ``fedtrack.errors``, nothing else of fedtrack.
"""
