//! Every kind of problem, with its cause and its cure: what the documentation shows is made from this.

/// A kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name in `type`. It never changes.
    pub slug: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What leads to it.
    pub cause: &'static str,
    /// What to do.
    pub cure: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:literal, $slug:literal, $title:literal, $cause:literal, $cure:literal;)*) => {
        $(
            #[doc = $title]
            pub static $name: Kind = Kind { slug: $slug, status: $status, title: $title, cause: $cause, cure: $cure };
        )*
        /// Every kind, in the order of the documentation.
        pub static KINDS: &[&Kind] = &[$(&$name,)*];
    };
}

kinds! {
    UNREADABLE = 400, "unreadable", "The request cannot be read",
        "The body is no JSON, is cut off, is nested too deeply, or a parameter of the address has no such value.",
        "Correct what the detail names. The request will fail in the same way until it is changed.";
    NO_KEY = 401, "no-key", "No key was given",
        "The request has no key in any of the three places.",
        "Send `Authorization: Bearer mk_live_…`, `Authorization: mk_live_…`, or `accessKey` and `secretKey`.";
    BAD_KEY = 401, "malformed-key", "That is no key",
        "What was given as a key has not the form of one: letters are missing, or it was changed on its way (its checksum tells).",
        "Copy the key again, whole, without quotes or line breaks.";
    UNKNOWN_KEY = 401, "unknown-key", "There is no such key",
        "No key has this identity and this secret.",
        "Look up in which installation the key was made. If its secret is lost, rotate it.";
    EXPIRED_KEY = 401, "expired-key", "The key's time is over",
        "The key was made to work until a certain day, and that day is over.",
        "Make a new key, or give this one a later end.";
    REVOKED_KEY = 401, "revoked-key", "The key was deleted",
        "Somebody deleted the key, or revoked all keys of the organisation. That cannot be undone.",
        "Make a new key.";
    ROTATED_KEY = 401, "rotated-key", "The key has a newer secret",
        "The key was rotated, and the time in which both secrets work is over.",
        "Use the newer secret. If nobody has it, rotate the key again.";
    API_ACCESS_OFF = 403, "api-access-off", "API access is off",
        "API access is an addition for each organisation, and it is off for this one.",
        "Ask the operator of this installation to turn it on: `muster org set SLUG api_access=on`.";
    NETWORK = 403, "network-not-allowed", "The key may not be used from here",
        "The key works from certain networks, and the request came from another.",
        "Send it from there, or add this network to the key. Behind a proxy, the operator must name the proxy as trusted.";
    USER_DISABLED = 403, "user-disabled", "The key's user is disabled",
        "The key acts on behalf of a user who was disabled.",
        "Map the key to another user, best to a service user.";
    NO_ROLE = 403, "no-role", "The key's user has no role",
        "The user on whose behalf the key acts has no role in the organisation any more.",
        "Give the user a role again, or map the key to another user.";
    MISSING_RIGHT = 403, "missing-right", "The key lacks a right",
        "The key was not given the right that this request needs, or the user on whose behalf it acts does not have it now.",
        "Add the scope that the detail names to the key, and see that its user's role has it.";
    WRONG_FEED = 403, "wrong-feed", "The key is bound to another feed",
        "The key speaks for one feed alone, and the request named another.",
        "Leave the feed out, or use the key of that feed.";
    FULL_NOT_ALLOWED = 403, "full-not-allowed", "The key may not send full lists",
        "The key sees only some people, so it cannot say of the others that they left.",
        "Send `partial`, or bind the key to a feed of its own.";
    FIELD_NOT_ALLOWED = 403, "field-not-allowed", "The key is not for that field",
        "The request writes a field that the key may not write, or looks for, filters or sorts by one that it may not read.",
        "Leave the fields out that the detail names, or allow them to the key.";
    SECOND_APPROVER = 403, "second-approver", "Somebody else must approve this too",
        "The organisation asks for two people, and the user behind the key gave the first approval of the same already. Another key \
         of the same user is still the same person.",
        "Let another person approve the same digest with the same choice. To take the first approval back, reject the change set.";
    NOT_FOUND = 404, "not-found", "There is nothing of that name",
        "There is no such thing in the key's organisation, or it is of somebody whom the key does not see. What belongs to \
         another organisation is answered in the same way.",
        "Look at the identity that was given.";
    METHOD = 405, "method-not-allowed", "That cannot be done here",
        "The address exists, and does not take this method.",
        "`Allow` names the methods that it takes.";
    TIMEOUT = 408, "timeout", "The body did not come in time",
        "The request's body came too slowly, or its end did not come.",
        "Send it again, over a better line or packed with gzip.";
    CONFLICT = 409, "conflict", "That cannot be done as things stand",
        "What the request is about is in a state that does not allow it, such as a change set that was decided already, or it \
         was done before, under the same Idempotency-Key, when the key could do something else.",
        "Look at it again, and decide anew.";
    IN_FLIGHT = 409, "in-flight", "The same request is still being worked on",
        "A request with this Idempotency-Key has not been answered yet.",
        "Wait as long as `Retry-After` says and send it again with the same key.";
    CONFIRMATION = 409, "confirmation-required", "Somebody must confirm a number",
        "The guard on removals tripped, and the request does not confirm how many people lose eligibility, or not that number.",
        "`removals` says how many it would be, and `taken_off` how many of them leave the roster. Look at the change set; if the number is \
         right, send it as `confirm_removals`.";
    STALE = 412, "stale", "It is not what you saw any more",
        "The request names a version or digest that is no longer the present one: something has changed since it was read.",
        "Read it again, look at what changed, and decide anew with the new digest.";
    TOO_LARGE = 413, "too-large", "The body is too large",
        "The body is larger than is taken here.",
        "Send fewer items at a time, or send a list as an upload.";
    MEDIA_TYPE = 415, "unsupported-media-type", "The body's type is not taken",
        "Content-Type names a format that is not taken here, or none, or the body is encoded in a way that is not taken.",
        "Send one of the types that the reference names for this address.";
    INVALID = 422, "invalid", "The request makes no sense as it stands",
        "The body can be read, and something in it cannot be taken: a field that there is none of, a value of another kind.",
        "Correct what `errors` points to.";
    REFUSED = 422, "refused", "The payload was refused",
        "Nothing was taken from the payload: it is not whole, older than one that was accepted, or cannot be read.",
        "The detail says why. Correct it at the source and send it again.";
    IDEMPOTENCY_MISMATCH = 422, "idempotency-mismatch", "This Idempotency-Key was used for another request",
        "A request with the same Idempotency-Key, and another content, came within the last 24 hours.",
        "Use a new key for a new request: also for one that was refused and is mended, or decides on something newer.";
    PRECONDITION = 428, "precondition-required", "Say what you saw",
        "The request decides on something and does not say which state of it was seen.",
        "Read it, and send its `ETag` or digest as `If-Match`.";
    RATE_LIMITED = 429, "rate-limited", "Too many requests",
        "The key has sent more requests within a minute than it may.",
        "Wait as long as `Retry-After` says. `RateLimit` tells on every answer how many are left.";
    INTERNAL = 500, "internal", "Something is wrong on our side",
        "A bug, or a part of the installation that failed.",
        "Try again later; if it stays, give the operator the request's `X-Request-Id`.";
    BUSY = 503, "busy", "Too much is under way",
        "Another process is writing to the organisation's roster, or others are at what only a few may be at once (rosters of the past, \
         workbooks, who loses eligibility by a change set, what is to be undone), for longer than a request should wait; or the \
         organisation has two workbooks that are not read to their end yet. The detail says which.",
        "Wait as long as `Retry-After` says and send it again.";
    UNAVAILABLE = 503, "unavailable", "The database cannot be reached",
        "The database is away or full.",
        "Wait as long as `Retry-After` says and send it again. Nothing was done.";
    BEHIND = 503, "behind", "What is read is not that far yet",
        "The request asks for what reflects a certain event, and what it reads is behind that.",
        "Wait as long as `Retry-After` says and send it again, or ask without `wait_for`.";
}
