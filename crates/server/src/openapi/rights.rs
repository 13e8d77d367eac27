//! Which right each address needs, for the document. The handlers ask for it; a test tries that they ask for just this.

use muster_domain::access::{
    Action::{self, Approve, Create, Delete, Download, Read, Update},
    Resource::{self, ChangeSets, Eligibility, Events, Feeds, Keys, Members, Settings, Uploads},
};
use utoipa::{
    Modify,
    openapi::{OpenApi, path::Operation, security::SecurityRequirement},
};

/// By method and address. What is not here any key may ask.
const RIGHTS: [(&str, &str, Resource, Action); 58] = [
    ("post", "/api/v1/uploads", Uploads, Create),
    ("get", "/api/v1/uploads", Uploads, Read),
    ("get", "/api/v1/uploads/{id}", Uploads, Read),
    ("get", "/api/v1/uploads/{id}/issues", Uploads, Read),
    ("get", "/api/v1/uploads/{id}/original", Uploads, Download),
    ("post", "/api/v1/uploads/{id}/give-up", Uploads, Delete),
    ("put", "/api/v1/members", Members, Update),
    ("get", "/api/v1/members", Members, Read),
    ("post", "/api/v1/members/search", Members, Read),
    ("post", "/api/v1/members/lookup", Members, Read),
    ("get", "/api/v1/members/{id}", Members, Read),
    ("patch", "/api/v1/members/{id}", Members, Update),
    ("delete", "/api/v1/members/{id}", Members, Delete),
    ("get", "/api/v1/members/{id}/history", Members, Read),
    ("get", "/api/v1/members/{id}/blame", Members, Read),
    ("get", "/api/v1/members/export", Members, Download),
    ("get", "/api/v1/roster/diff", Members, Download),
    ("post", "/api/v1/members", Members, Create),
    ("post", "/api/v1/members/{id}/set", Members, Update),
    ("post", "/api/v1/members/{id}/remove", Members, Delete),
    ("post", "/api/v1/members/{id}/rekey", Members, Update),
    ("post", "/api/v1/members/{id}/link", Members, Update),
    ("post", "/api/v1/members/{id}/forget", Members, Delete),
    ("post", "/api/v1/members/forget", Members, Delete),
    ("post", "/api/v1/members/forget/lift", Members, Delete),
    ("post", "/api/v1/eligibility", Eligibility, Read),
    ("get", "/api/v1/change-sets", ChangeSets, Read),
    ("get", "/api/v1/change-sets/rejected", ChangeSets, Read),
    ("get", "/api/v1/change-sets/overview", ChangeSets, Read),
    ("get", "/api/v1/change-sets/{id}", ChangeSets, Read),
    ("get", "/api/v1/change-sets/{id}/changes", ChangeSets, Read),
    ("post", "/api/v1/change-sets/{id}/approve", ChangeSets, Approve),
    ("post", "/api/v1/change-sets/{id}/reject", ChangeSets, Approve),
    ("post", "/api/v1/change-sets/undo", ChangeSets, Approve),
    ("post", "/api/v1/change-sets/{id}/undo", ChangeSets, Approve),
    ("get", "/api/v1/events", Events, Read),
    ("get", "/api/v1/activity", Events, Read),
    ("get", "/api/v1/dashboard", Settings, Read),
    ("patch", "/api/v1/organisation/settings", Settings, Update),
    ("get", "/api/v1/feeds", Feeds, Read),
    ("post", "/api/v1/feeds", Feeds, Create),
    ("get", "/api/v1/feeds/{name}", Feeds, Read),
    ("patch", "/api/v1/feeds/{name}", Feeds, Update),
    ("get", "/api/v1/feeds/runs", Feeds, Read),
    ("get", "/api/v1/feeds/{name}/known", Feeds, Read),
    ("post", "/api/v1/feeds/{name}/map", Feeds, Update),
    ("post", "/api/v1/feeds/{name}/mapping/restore", Feeds, Update),
    ("post", "/api/v1/feeds/{name}/handover", Feeds, Update),
    ("get", "/api/v1/keys", Keys, Read),
    ("post", "/api/v1/keys", Keys, Create),
    ("get", "/api/v1/keys/access-log", Keys, Read),
    ("get", "/api/v1/keys/{id}", Keys, Read),
    ("patch", "/api/v1/keys/{id}", Keys, Update),
    ("delete", "/api/v1/keys/{id}", Keys, Delete),
    ("post", "/api/v1/keys/{id}/rotate", Keys, Update),
    ("post", "/api/v1/keys/revoke-all", Keys, Delete),
    ("put", "/api/public/members", Members, Update),
    ("post", "/api/public/upload", Uploads, Create),
];

/// Names the right of every address as a role beside each way to send a key.
pub struct Needed;

impl Modify for Needed {
    fn modify(&self, document: &mut OpenApi) {
        for (method, path, resource, action) in RIGHTS {
            let Some(operation) = find(document, method, path) else { continue };
            let role = [format!("{}:{}", resource.scope(), action.word())];
            operation.security = Some(vec![
                SecurityRequirement::new("bearer", role.clone()),
                SecurityRequirement::new("access_key", role.clone()).add("secret_key", role),
            ]);
        }
    }
}

fn find<'a>(document: &'a mut OpenApi, method: &str, path: &str) -> Option<&'a mut Operation> {
    let item = document.paths.paths.get_mut(path)?;
    let operation = match method {
        "get" => &mut item.get,
        "put" => &mut item.put,
        "post" => &mut item.post,
        "delete" => &mut item.delete,
        _ => &mut item.patch,
    };
    operation.as_mut()
}

#[cfg(test)]
mod tests {
    use utoipa::OpenApi as _;

    use super::*;

    #[test]
    fn every_right_is_of_an_address_that_there_is() {
        let mut document = crate::openapi::Api::openapi();
        for (method, path, resource, action) in RIGHTS {
            assert!(find(&mut document, method, path).is_some(), "{method} {path}");
            assert!(action.is_of(resource), "{method} {path}");
        }
    }
}
