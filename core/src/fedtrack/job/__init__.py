"""What the user asks for: a job, built in Python and exported as JSON."""
