//! `gaunt report`, by the real binary.

mod support;

use support::Workplace;

#[test]
fn a_file_and_its_run_are_drawn() {
    let place = Workplace::with_lenet5();
    place.succeed("compress lenet5.safetensors --data digits --target-ratio 9 --epochs 1 --batch 64 -o thin.gaunt");
    place.succeed("report thin.gaunt -o layers.svg");
    let text = |name: &str| String::from_utf8(place.read(name)).unwrap();
    let layers = text("layers.svg");
    for part in ["<svg", "conv1", "fc3", "zero weights", "bits", "bytes"] {
        assert!(layers.contains(part), "{part}");
    }
    place.succeed("report thin.gaunt.run -o run.svg");
    assert!(text("run.svg").contains("bytes of the file"));
    place.succeed("report thin.gaunt -o page.html");
    let page = text("page.html");
    assert!(page.contains("<svg") && page.contains("smaller than"), "{page}");
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let place = Workplace::with_lenet5();
    place.write("empty.toml", "network = []\n");
    for (arguments, message) in [
        ("report lenet5.safetensors -o x.svg", "nothing to report on"),
        ("report empty.toml -o x.png", "must be .svg or .html"),
        ("report empty.toml -o x.svg", "there is no network"),
        ("report nowhere.gaunt -o x.svg", "nowhere.gaunt"),
    ] {
        let error = place.fail(arguments, 1);
        assert!(error.contains(message), "{arguments}: {error}");
    }
}
