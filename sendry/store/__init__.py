"""The tables: columns, indexes, constraints, the writer thread and the ids. No policy, no network.

Every room that keeps something goes through here; which room writes which table is said beside each model.
"""
