//! The files under `models/`: whole, of the version that is read, and computing here what they computed where they were made.

mod support;

use std::{fs, path::Path};

use support::Workplace;

#[test]
fn every_model_verifies() {
    let place = Workplace::new();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let folders = [models.clone(), models.join("dense")];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let files =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "gaunt"));
    let mut count = 0;
    for file in files {
        place.write("model.gaunt", fs::read(&file).unwrap());
        let report = place.succeed("verify model.gaunt");
        assert!(report.contains("golden"), "{}: {report}", file.display());
        count += 1;
    }
    assert!(count > 0, "there are no models");
}
