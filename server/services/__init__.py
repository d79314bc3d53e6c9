"""One function per use case: check the rules, write the spec, poke the loop."""
