"""The only door for mail: SMTP, API and Sendry's own notices come in through `Intake.accept`."""
