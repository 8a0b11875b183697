"""Who may come in: people, sign-ins, SMTP logins, API keys and the guard against guessing."""
