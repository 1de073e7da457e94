//! The OpenAPI document is part of the public interface: a change shows in review.

#[test]
fn the_document_is_as_it_was() {
    for (name, sim) in [("server", false), ("simulation", true)] {
        let document: serde_json::Value = serde_json::from_str(&mock_merchant::api::document(sim)).unwrap();
        insta::assert_json_snapshot!(name, document);
    }
}
