"""The waiting line: sole writer of message, recipient, attempt, event, capture and dead-letter rows."""
