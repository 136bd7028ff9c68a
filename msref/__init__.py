"""msref: recurrent networks by hand, with proof."""
