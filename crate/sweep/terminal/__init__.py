"""What the terminal shows of a sweep: tables, results and a live view."""
