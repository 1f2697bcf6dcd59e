// Lets this package have functions without bodies: the runtime's fork hooks.
