//! The names under which HR systems export the standard fields.

use muster_domain::field::FieldId;

/// How good a name is for a field; the smaller, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// The field's own name.
    Exact,
    /// `unique_id`, which stands for the match key.
    UniqueId,
    /// A name that is used for nothing else.
    Synonym,
    /// A name that is taken if there is no better one.
    Weak,
}

/// What stands in brackets behind a name and says nothing of what the column holds, in the same form.
pub(super) const REMARKS: &[&str] =
    &["required", "optional", "readonly", "localesensitive", "yyyymmdd", "ddmmyyyy", "mmddyyyy", "mandatory"];

/// A field's synonyms and weaker names, in the form that [`super::plain`] gives them.
type Names = (FieldId, &'static [&'static str], &'static [&'static str]);

#[rustfmt::skip]
pub(super) const NAMES: &[Names] = &[
    (FieldId::EMPLOYEE_ID,
        &["employeenumber", "employeeno", "employeenr", "employeecode", "empid", "empno", "empnumber", "empcode", "workerid",
          "workernumber", "personnelnumber", "personnelno", "personnelid", "persno", "pernr", "staffid", "staffno",
          "staffnumber", "payrollno", "payrollnumber", "payrollid", "associateid", "eeid", "eeno", "fileno", "filenumber",
          "emplid", "personalnummer", "mitarbeiternummer", "matricule", "numeroempleado", "personeelsnummer"],
        &["personid", "personnumber", "colleagueid", "teammemberid", "badgeno", "externalid", "id"]),
    (FieldId::EMAIL,
        &["emailaddress", "workemail", "workemailaddress", "emailwork", "primaryworkemail", "businessemail", "businessemailaddress",
          "businessemailinformationemailaddress", "companyemail", "corporateemail", "officeemail", "workcontactworkemail", "mail", "emailaddr", "emailprofessionnel", "correoelectronico"],
        &["primaryemail", "primaryemailaddress", "upn", "userprincipalname"]),
    (FieldId::FIRST_NAME,
        &["givenname", "forename", "firstnames", "forenames", "givennames", "legalfirstname", "namefirst", "fname", "legalnamefirstname", "vorname", "prénom", "prenom",
          "nombre", "voornaam"],
        &["christianname"]),
    (FieldId::LAST_NAME,
        &["surname", "familyname", "lastnames", "legallastname", "namelast", "lname", "legalnamelastname", "nachname", "familienname", "nomdefamille",
          "apellido", "apellidos", "achternaam"],
        &["secondname"]),
    (FieldId::PREFERRED_NAME,
        &["knownas", "preferredfirstname", "preferrednamefirstname", "preffirstname", "rufname", "nickname", "commonname", "goesby"],
        &["displayname", "calledname"]),
    (FieldId::DATE_OF_BIRTH,
        &["dob", "birthdate", "birthday", "dateofbirthdob", "borndate", "birthdt", "geburtsdatum", "datedenaissance",
          "fechadenacimiento", "geboortedatum"],
        &["born"]),
    (FieldId::DEPARTMENT,
        &["dept", "departmentname", "deptname", "departmentdescription", "homedepartment", "homedepartmentdescription", "abteilung", "departamento",
          "afdeling"],
        &["team", "orgunit", "organisationalunit", "organisationseinheit", "orglevel1", "service", "organizationalunit", "organisationunit", "organizationunit",
          "supervisoryorganization", "supervisoryorganisation", "costcentre", "costcenter", "costcentrename", "costcentername"]),
    (FieldId::JOB_TITLE,
        &["businesstitle", "jobtitledescription", "jobname", "positiontitle", "employeetitle", "stellenbezeichnung", "berufsbezeichnung", "functietitel"],
        &["title", "position", "role", "job", "jobprofile", "designation", "occupation", "planstelle", "stelle", "puesto", "poste"]),
    (FieldId::LOCATION,
        &["office", "site", "worklocation", "locationname", "officelocation", "worksite", "worklocationname", "locationdescription", "standort",
          "workaddresscity", "locatie", "ubicación"],
        &["branch", "building", "personnelsubarea", "workplace", "personalbereich"]),
    (FieldId::SUBCOMPANY,
        &["company", "companyname", "legalentity", "legalentityname", "subsidiary", "employer", "subcompanyname", "gesellschaft", "firma"],
        &["entity", "companycode", "businessentity", "businessunit", "division"]),
    (FieldId::MANAGER_ID,
        &["supervisorid", "managerempid", "manageremployeeid", "manageremployeenumber", "managernumber", "managerno",
          "linemanagerid", "managerworkerid", "managerpersonnelnumber", "supervisoremployeeid", "supervisoremployeenumber", "supervisornumber",
          "reportstoid", "reportstoemployeeid", "reportstoemployeenumber", "workersmanageremployeeid", "managerpersonnumber",
          "vorgesetzternummer", "reportstonumber", "reportstoassociateid", "managerstaffid"],
        &["linemanagerno", "linemanagernumber"]),
    (FieldId::EMPLOYMENT_TYPE,
        &["workertype", "employeetype", "contracttype", "typeofemployment", "workercategory", "workercategorydescription",
          "employmentcategory", "emptype", "beschäftigungsart", "vertragsart"],
        &["employeegroup", "employmentbasis", "fulltimeparttime", "timetype"]),
    (FieldId::EMPLOYMENT_STATUS,
        &["employeestatus", "workerstatus", "empstatus", "positionstatus", "personnelstatus", "staffstatus", "emplstatus", "lifecyclestatus",
          "assignmentstatus", "beschäftigungsstatus"],
        &["status", "activestatus"]),
    (FieldId::START_DATE,
        &["hiredate", "dateofhire", "datehired", "joiningdate", "dateofjoining", "joindate", "datejoined", "employmentstartdate",
          "startdt", "hiredt", "commencementdate", "entrydate", "dateofentry", "employeehiredate", "eintrittsdatum",
          "eintritt", "datedembauche", "fechadealta", "datumindienst"],
        &["originalhiredate", "latesthiredate", "lasthiredate", "mostrecenthiredate", "continuousservicedate", "start"]),
    (FieldId::END_DATE,
        &["terminationdate", "leavingdate", "dateofleaving", "lastday", "lastdayofwork", "lastworkingday", "leavedate", "dateleft",
          "employmentenddate", "separationdate", "termdate", "exitdate", "terminationdt", "enddt", "dateofexit",
          "austrittsdatum", "austritt", "fechadebaja", "datumuitdienst"],
        &["contractenddate", "end"]),
];
