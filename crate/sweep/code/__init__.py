"""The code that jobs run: snapshots of the checkout and modules from outside of it."""
