"""The form for QGIS is XML that offers each class once, whatever it is called, and lets nobody change the rest."""

from xml.etree import ElementTree

from lcjax.assessment import qgis_form

CLASSES = [("Forest", "#009900"), ("a <b> & \"c\" 'd'", "#0000ff")]


def parsed(fields=("point", "x", "label", "comment", "chip")):
    return ElementTree.fromstring(qgis_form.qml(CLASSES, "cannot say", fields).partition("\n")[2])


def test_labels_are_chosen_from_the_classes():
    root = parsed()
    (widget,) = (
        field.find("editWidget") for field in root.iter("field") if field.get("name") == "label" and len(field)
    )
    assert widget.get("type") == "ValueMap"
    entries = [list(one.iter("Option"))[1] for one in widget.find("config/Option/Option")]
    assert [(one.get("name"), one.get("value")) for one in entries] == [
        (name, name) for name in ("Forest", CLASSES[1][0], "cannot say")
    ]


def test_only_label_and_comment_can_be_changed():
    editable = {one.get("name"): one.get("editable") for one in parsed().find("editable")}
    assert editable == {"point": "0", "x": "0", "label": "1", "comment": "1", "chip": "0"}


def test_every_category_has_a_symbol_in_its_colour():
    root = parsed()
    symbols = {one.get("name"): one for one in root.iter("symbol")}
    for category, (name, colour) in zip(root.iter("category"), [*CLASSES, ("cannot say", ""), ("", "")], strict=True):
        assert category.get("value") == name
        rims = [
            one.get("value")
            for one in symbols[category.get("symbol")].iter("Option")
            if one.get("name") == "outline_color"
        ]
        assert not colour or rims[1] == ",".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5)) + ",255"
