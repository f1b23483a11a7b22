//! How `describe` tells what there is to know about an object.
