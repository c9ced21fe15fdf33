"""How a fit runs under Lightning's loop: where it may stop and validate, and when it is finished."""
