"""What `python -m pipo.evaluate` measures: one module per question, and the report that joins the answers."""
