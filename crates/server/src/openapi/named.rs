//! Names of operations, for whoever makes a client from the document: OpenAPI 3.1 wants each to be there once.

use utoipa::{Modify, openapi::OpenApi};

/// Names each by its method and address.
pub struct Named;

impl Modify for Named {
    fn modify(&self, document: &mut OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let place = path.trim_start_matches("/api/").trim_start_matches("v1/").replace(['/', '-'], "_");
            let place = place.replace(['{', '}'], "");
            let operations = [
                ("get", &mut item.get),
                ("put", &mut item.put),
                ("post", &mut item.post),
                ("delete", &mut item.delete),
                ("patch", &mut item.patch),
            ];
            for (method, operation) in operations {
                if let Some(operation) = operation {
                    operation.operation_id = Some(format!("{method}_{place}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::OpenApi as _;

    use crate::openapi::Api;

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = serde_json::to_value(Api::openapi()).unwrap();
        let items = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
        let names: Vec<&str> = items.filter_map(|operation| operation["operationId"].as_str()).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
        assert!(names.contains(&"get_change_sets_id_changes") && names.contains(&"put_public_members"), "{names:?}");
    }
}
