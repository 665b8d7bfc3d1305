"""From sweep files and command lines to frozen, checked configurations."""
