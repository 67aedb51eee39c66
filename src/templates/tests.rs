use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (name, text) in files {
        write(&folder, name, text);
    }
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn of(folder: &TempDir) -> Templates {
    Templates::new(Some(folder.path().to_owned()), Metrics::new())
}

#[test]
fn every_value_is_escaped_whatever_the_file_is_called() {
    let folder = folder(&[
        ("a.html", "<b>{{ text }}</b>"),
        ("b.txt", "{{ text }}"),
        ("c/d", "{{ list[0] }} {{ none }} {{ missing }} {{ yes }}"),
    ]);
    let templates = of(&folder);
    let context = r#"{"text":"<i>&\"'","list":["<"],"none":null,"yes":true}"#;
    for (name, html) in [
        ("a.html", "<b>&lt;i&gt;&amp;&quot;&#x27;</b>"),
        ("b.txt", "&lt;i&gt;&amp;&quot;&#x27;"),
        ("c/d", "&lt;   True"),
    ] {
        assert_eq!(
            templates.render(name, context).as_deref(),
            Ok(html),
            "{name}"
        );
    }
}

#[test]
fn numbers_keep_their_digits() {
    let folder = folder(&[("n", "{{ n }}|{{ n + 1 }}")]);
    for (number, html) in [
        ("7", "7|8"),
        (
            "-9223372036854775808",
            "-9223372036854775808|-9223372036854775807",
        ),
        ("1.5", "1.5|2.5"),
        ("0.1", "0.1|1.1"),
    ] {
        let context = format!(r#"{{"n":{number}}}"#);
        assert_eq!(of(&folder).render("n", &context).as_deref(), Ok(html));
    }
    let folder = self::folder(&[("n", "{{ n }}")]);
    for number in ["12345678901234567890123", "12345678901234567.89"] {
        let context = format!(r#"{{"n":{number}}}"#);
        assert_eq!(of(&folder).render("n", &context).as_deref(), Ok(number));
    }
}

#[test]
fn templates_extend_and_include_one_another_within_the_folder_only() {
    let outside = folder(&[("secret.html", "secret")]);
    let folder = folder(&[
        ("base.html", "<ul>{% block items %}{% endblock %}</ul>"),
        (
            "sub/list.html",
            "{% extends 'base.html' %}{% block items %}{% for n in list %}{% include 'sub/item.html' %}{% endfor %}{% endblock %}",
        ),
        ("sub/item.html", "<li>{{ n }}</li>"),
        (".hidden", "hidden"),
        ("up.html", "{% include '../up.html' %}"),
    ]);
    symlink(
        outside.path().join("secret.html"),
        folder.path().join("link.html"),
    )
    .expect("a link");
    symlink("sub/item.html", folder.path().join("inside.html")).expect("a link");
    let templates = of(&folder);
    assert_eq!(
        templates
            .render("sub/list.html", r#"{"list":[1,2]}"#)
            .as_deref(),
        Ok("<ul><li>1</li><li>2</li></ul>")
    );
    assert_eq!(
        templates.render("inside.html", r#"{"n":3}"#).as_deref(),
        Ok("<li>3</li>")
    );
    let secret = outside.path().join("secret.html");
    for name in [
        "link.html",
        secret.to_str().expect("a path"),
        "../secret.html",
        "sub/../base.html",
        "sub",
        "sub/",
        "",
        ".hidden",
        "none.html",
        "base.html/x",
        "base.html\0",
    ] {
        let error = templates.render(name, "{}").expect_err(name);
        assert_eq!(error.failure, Failure::Missing, "{name}: {error}");
    }
    let error = templates.render("up.html", "{}").expect_err("outside");
    assert_eq!(error.failure, Failure::Missing, "{error}");
}

#[test]
fn a_file_that_changes_is_read_again_also_where_it_is_included() {
    let folder = folder(&[("a", "{% include 'b' %}"), ("b", "one")]);
    let templates = of(&folder);
    assert_eq!(templates.render("a", "{}").as_deref(), Ok("one"));
    write(&folder, "b", "and two");
    assert_eq!(templates.render("a", "{}").as_deref(), Ok("and two"));
    fs::remove_file(folder.path().join("b")).expect("it is there");
    let error = templates.render("a", "{}").expect_err("gone");
    assert_eq!(error.failure, Failure::Missing);
    write(&folder, "b", "back");
    assert_eq!(templates.render("a", "{}").as_deref(), Ok("back"));
}

#[test]
fn what_is_wrong_is_said_with_file_and_line_and_without_values() {
    let folder = folder(&[
        ("syntax", "\n{% if %}"),
        ("filter", "\n\n{{ text|nothing }}"),
        ("inner", "a\n{{ text.more.still }}"),
        ("outer", "{% include 'inner' %}"),
        (
            "endless",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        ),
        ("deep", "{% include 'deep' %}"),
        ("long", "{% for n in range(5000) %}{{ text }}{% endfor %}"),
        ("text", "{{ text }}"),
    ]);
    let templates = of(&folder);
    let secret = "s3cret".repeat(100);
    let context = format!(r#"{{"text":"{secret}"}}"#);
    for (name, file, line, failure) in [
        ("syntax", "syntax", Some(2), Failure::Syntax),
        ("filter", "filter", Some(3), Failure::Rendering),
        ("outer", "inner", Some(2), Failure::Rendering),
        ("endless", "endless", Some(1), Failure::TooMuch),
        ("long", "long", None, Failure::TooMuch),
        ("gone", "gone", None, Failure::Missing),
    ] {
        let error = templates.render(name, &context).expect_err(name);
        assert_eq!(
            (&*error.template, error.failure),
            (file, failure),
            "{error}"
        );
        assert_eq!(error.line, line, "{error}");
        assert!(!error.kind.contains("s3cret"), "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
    assert!(templates.render("deep", "{}").is_err());
    for context in ["[]", "", "7", "{"] {
        let error = templates.render("text", context).expect_err(context);
        assert_eq!(error.failure, Failure::Rendering);
    }
    let error = Templates::default().render("text", "{}").expect_err("none");
    assert_eq!(error.failure, Failure::Missing);
}

#[test]
fn failures_are_counted_one_by_one() {
    let folder = folder(&[("bad", "{{ 1 / 0 }}{{ x|no }}"), ("good", "<b>\n</b>")]);
    let metrics = Metrics::new();
    let templates = Templates::new(Some(folder.path().to_owned()), metrics.clone());
    let rendered = templates.render_as_json("good", b"{}");
    assert_eq!(rendered.as_deref(), Some(&br#""<b>\n</b>""#[..]));
    for name in ["bad", "bad", "none"] {
        assert_eq!(templates.render_as_json(name, b"{}"), None);
    }
    let text = metrics.encode();
    for line in [
        r#"rowcast_template_failures_total{reason="rendering"} 2"#,
        r#"rowcast_template_failures_total{reason="missing"} 1"#,
    ] {
        assert!(text.contains(line), "{text}");
    }
}
