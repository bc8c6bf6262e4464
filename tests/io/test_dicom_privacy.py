import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from medinr.io.dicom.privacy import identifying_words, printable, scrubbed


def _header(**values) -> Dataset:
    dataset = Dataset()
    with pydicom.config.disable_value_validation():
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    return dataset


ERIKA = _header(
    PatientName="Musterfrau-Groß^Erika^^Dr.",
    PatientID="HOSP-4711",
    PatientBirthDate="19640812",
    AccessionNumber="ACC.77315",
    InstitutionName="St. Vincent Clinic, MR",
    ReferringPhysicianName="von der Leyen^Jörg",
    OperatorsName=["Kim^Bo", "Ng"],
    StationName="MRC35223",
    StudyID="9",
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("t2 tse tra", "t2 tse tra"),
        ("t1 MUSTERFRAU tra", "t1 *** tra"),
        ("t1_musterfrau_erika_tra", "t1_***_***_tra"),
        ("ErikaMRT", "***MRT"),
        ("MRTErika2", "MRT***2"),
        ("xMusterfrauKnie", "x***Knie"),
        ("knee of Gross, Erika", "knee of ***, ***"),
        ("HOSP-4711 knee", "*** knee"),
        ("hosp4711, hosp 4711", "***, *** ***"),
        ("4711 knee 47110", "*** knee 47110"),
        ("acc 77315", "*** ***"),
        ("vincent clinic head", "*** *** head"),
        ("MR St.", "MR ***."),
        ("VonDerLeyen", "***"),
        ("joerg, JÖRG, jorg, Jo\u0308rg", "***, ***, ***, ***"),
        ("Bo abdomen, Body, elbow", "*** abdomen, Body, elbow"),
        ("Ng Ngo", "*** Ngo"),
        ("MRC35223", "***"),
        ("born 12.08.1964", "born ***"),
        ("12/8/64 1964-08-12 12081964", "*** *** ***"),
        ("12 Aug 1964; 12AUG64; August 12, 1964; Aug 1964", "***; ***; ***; ***"),
        ("TI 1964", "TI ***"),
        ("follow-up 3.11.2021", "follow-up ***"),
        ("uid 1.2.840.113619.2", "uid ***"),
        ("case 00123456 of 12345", "case *** of 12345"),
        ("StudyID 9, T9", "StudyID 9, T9"),
        ("0.9 x 0.8 x 3.0 mm 64/48/24", "0.9 x 0.8 x 3.0 mm 64/48/24"),
        ("2.0 MAR 512 kernel B30f", "2.0 MAR 512 kernel B30f"),
        ("ep2d_diff_3scan_trace_p2_ADC", "ep2d_diff_3scan_trace_p2_ADC"),
        ("", ""),
    ],
)
def test_words_that_the_header_identifies_the_patient_by(text, wanted):
    assert scrubbed(text, ERIKA) == wanted


def test_a_short_name_does_not_take_words_apart():
    header = _header(PatientName="Li^Se^A")
    assert scrubbed("Liver se2d li LI a T1 A", header) == "Liver se2d *** *** a T1 A"


def test_umlauts_are_one_letter_or_two_on_either_side():
    assert scrubbed("Müller Mueller Muller", _header(PatientName="Müller")) == "*** *** ***"
    assert scrubbed("Müller Mueller Muller", _header(PatientName="Mueller")) == "*** *** ***"
    assert scrubbed("Łukasz Sørensen", _header(PatientName="Sorensen^Lukasz")) == "*** ***"


def test_names_in_other_scripts_and_their_three_forms():
    header = _header(PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう")
    assert scrubbed("yamada 山田 たろう", header) == "*** *** ***"


def test_names_of_private_elements_and_of_nested_sequences():
    item = _header(PatientID="XK-99182")
    header = _header(OtherPatientIDsSequence=[item], RequestAttributesSequence=[_header(RequestedProcedureID="RP777")])
    header.add_new(0x00091001, "PN", "Hidden^Name")
    header.PatientBirthName = "Geborene"
    assert scrubbed("XK 99182 rp777 hidden geborene", header) == "*** *** *** *** ***"


def test_what_a_terminal_would_obey_is_removed():
    assert printable("a\x1b[31mb\x1b[0m\x1b]0;title\x07c\x9b2Jd\r\ne\u202ef\u200bg\x00") == "abcd  efg"
    header = _header(PatientName="Musterfrau^Erika")
    assert scrubbed("Muster\u200bfrau \x1b[1mEri\x00ka", header) == "*** ***"


def test_values_of_the_wrong_type_do_no_harm():
    header = _header(PatientBirthDate="1964", PatientName="", PatientID=None, OtherPatientIDs=["77x", ""])
    assert scrubbed("1964 77x a", header) == "*** *** a"
    assert identifying_words(Dataset()) == frozenset()


#: Letters of many scripts, some with accents.
LETTERS = st.characters(categories=("Lu", "Ll", "Lo", "Mn"))


@settings(max_examples=200, deadline=None)
@given(name=st.text(LETTERS, min_size=2, max_size=12), write=st.sampled_from((str, str.upper, str.lower, str.title)))
def test_a_name_between_blanks_is_always_removed(name, write):
    header = _header(PatientName=name)
    text = scrubbed(f"t2 {write(name)} tra", header)
    left = identifying_words(header) & identifying_words(_header(PatientID=text))
    assert left <= {"tra"}


def test_an_identifier_of_single_letters_is_removed_as_a_whole():
    assert scrubbed("1-2 of A1-2", _header(PatientID="1-2")) == "*** of A1-2"
