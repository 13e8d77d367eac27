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

/// A field's synonyms and weaker names, in the form that [`super::plain`] gives them.
type Names = (FieldId, &'static [&'static str], &'static [&'static str]);

#[rustfmt::skip]
pub(super) const NAMES: &[Names] = &[
    (FieldId::EMPLOYEE_ID,
        &["employeenumber", "employeeno", "employeenr", "employeecode", "empid", "empno", "empnumber", "empcode", "workerid",
          "workernumber", "personnelnumber", "personnelno", "personnelid", "persno", "pernr", "staffid", "staffno",
          "staffnumber", "payrollno", "payrollnumber", "payrollid", "associateid", "eeid", "eeno", "fileno", "filenumber"],
        &["personid", "personnumber", "colleagueid", "teammemberid", "badgeno", "externalid", "id"]),
    (FieldId::EMAIL,
        &["emailaddress", "workemail", "workemailaddress", "emailwork", "primaryworkemail", "businessemail", "businessemailaddress",
          "businessemailinformationemailaddress", "companyemail", "corporateemail", "officeemail", "workcontactworkemail"],
        &["primaryemail", "primaryemailaddress", "mail", "upn", "userprincipalname"]),
    (FieldId::FIRST_NAME,
        &["givenname", "forename", "firstnames", "forenames", "givennames", "legalfirstname", "namefirst", "fname"],
        &["christianname"]),
    (FieldId::LAST_NAME,
        &["surname", "familyname", "lastnames", "legallastname", "namelast", "lname"],
        &["secondname"]),
    (FieldId::PREFERRED_NAME,
        &["knownas", "preferredfirstname", "nickname", "commonname", "goesby"],
        &["displayname", "calledname"]),
    (FieldId::DATE_OF_BIRTH,
        &["dob", "birthdate", "birthday", "dateofbirthdob", "borndate", "birthdt"],
        &["born"]),
    (FieldId::DEPARTMENT,
        &["dept", "departmentname", "deptname", "departmentdescription", "homedepartment", "homedepartmentdescription"],
        &["team", "orgunit", "organisationalunit", "organizationalunit", "organisationunit", "organizationunit",
          "supervisoryorganization", "supervisoryorganisation", "costcentre", "costcenter", "costcentrename", "costcentername"]),
    (FieldId::JOB_TITLE,
        &["businesstitle", "jobtitledescription", "jobname", "positiontitle"],
        &["title", "position", "role", "job", "jobprofile", "designation", "occupation"]),
    (FieldId::LOCATION,
        &["office", "site", "worklocation", "locationname", "officelocation", "worksite", "worklocationname", "locationdescription"],
        &["branch", "building", "personnelsubarea", "workplace"]),
    (FieldId::SUBCOMPANY,
        &["company", "companyname", "legalentity", "legalentityname", "subsidiary", "employer", "subcompanyname"],
        &["entity", "companycode", "businessentity", "businessunit", "division"]),
    (FieldId::MANAGER_ID,
        &["supervisorid", "managerempid", "manageremployeeid", "manageremployeenumber", "managernumber", "managerno",
          "linemanagerid", "managerworkerid", "managerpersonnelnumber", "supervisoremployeeid", "supervisornumber",
          "reportstoid", "reportstoemployeeid", "reportstonumber", "reportstoassociateid", "managerstaffid"],
        &["linemanagerno", "linemanagernumber"]),
    (FieldId::EMPLOYMENT_TYPE,
        &["workertype", "employeetype", "contracttype", "typeofemployment", "workercategory", "workercategorydescription",
          "employmentcategory", "emptype"],
        &["employeegroup", "employmentbasis", "fulltimeparttime", "timetype"]),
    (FieldId::EMPLOYMENT_STATUS,
        &["employeestatus", "workerstatus", "empstatus", "positionstatus", "personnelstatus", "staffstatus"],
        &["status", "activestatus"]),
    (FieldId::START_DATE,
        &["hiredate", "dateofhire", "datehired", "joiningdate", "dateofjoining", "joindate", "datejoined", "employmentstartdate",
          "startdt", "hiredt", "commencementdate", "entrydate", "dateofentry"],
        &["originalhiredate", "latesthiredate", "lasthiredate", "continuousservicedate", "start"]),
    (FieldId::END_DATE,
        &["terminationdate", "leavingdate", "dateofleaving", "lastday", "lastdayofwork", "lastworkingday", "leavedate", "dateleft",
          "employmentenddate", "separationdate", "termdate", "exitdate", "terminationdt", "enddt", "dateofexit"],
        &["contractenddate", "end"]),
];
