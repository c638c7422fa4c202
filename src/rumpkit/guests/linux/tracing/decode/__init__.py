"""System calls as strace(1) writes them: `signatures` says what arguments are, `names` and `options` how numbers are called, the others
read structures from the program's memory.  Nothing here traces."""
