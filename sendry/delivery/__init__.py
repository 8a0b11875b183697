"""SMTP out: carries claimed recipients to the host that takes their mail.

The door is `DeliveryLoop`. Network only here; no table of its own: work comes from the queue and results go back
to it, notices to senders go through intake.
"""
