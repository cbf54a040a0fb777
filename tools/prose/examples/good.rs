//! Limits concurrent deliveries per connection, so that one flooded connection cannot starve the others.

/// Returns the pad with this `id`, or `None` while it is terminating.
fn told(id: &str) -> String {
    // The `id` is sent as it is: CoderPad compares IDs exactly.
    format!("LeverConnection {id} has no CoderPad quota left. The operator retries automatically. No action needed.")
}
