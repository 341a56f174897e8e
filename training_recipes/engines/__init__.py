"""Training engines behind one interface: each turns packed rows into a model directory."""
