@echo off
rem run.cmd - one command for a real Windows Server: install, enrol, log in, make and use shadow copies, collect all.
rem     run.cmd CODE PORTAL VOLUME [TARGET [CHAPNAME CHAPSECRET]]      as administrator
rem VOLUME is a scratch volume on a disk of Tarn, such as T:.  With TARGET it logs in; without, you have done that.
rem Read doc/windows-testing.md first.  The result is accept.txt beside this file; nothing of it is secret.
setlocal
if "%~3"=="" goto usage
if not "%~5"=="" if "%~6"=="" goto usage
set HERE=%~dp0
set OUT=%HERE%accept.txt
set VSS="%ProgramFiles%\Tarn\tarn-vss.exe"
set LOG=%ProgramData%\Tarn\tarn-vss.log
set OLDLOG=%ProgramData%\Tarn\tarn-vss.old.log
if not defined DISKSHADOW set DISKSHADOW=diskshadow
set FAILED=0
cd /d "%HERE%"
echo Tarn acceptance on %COMPUTERNAME%> "%OUT%"

echo ==== install>> "%OUT%"
if not exist tarn.msi goto nomsi
start "" /wait msiexec /i "%HERE%tarn.msi" /qn SERVERCODE=%1
>> "%OUT%" echo status %ERRORLEVEL%
goto login
:nomsi
echo there is no tarn.msi beside run.cmd: what is installed is tried>> "%OUT%"

:login
echo ==== login>> "%OUT%"
sc config MSiSCSI start= auto >> "%OUT%" 2>&1
net start MSiSCSI >> "%OUT%" 2>&1
iscsicli QAddTargetPortal %2 >> "%OUT%" 2>&1
iscsicli ListTargets >> "%OUT%" 2>&1
if "%~4"=="" goto doctor
rem What it says of a login that has a secret is not kept.
if "%~5"=="" iscsicli QLoginTarget %4 >> "%OUT%" 2>&1
if not "%~5"=="" iscsicli QLoginTarget %4 %5 %6 > nul 2>&1
>> "%OUT%" echo status %ERRORLEVEL%
for /l %%I in (1,1,30) do if not exist %3\ ping -n 2 127.0.0.1 > nul
iscsicli SessionList >> "%OUT%" 2>&1

:doctor
echo ==== doctor>> "%OUT%"
%VSS% doctor >> "%OUT%" 2>&1
if exist "%LOG%" del "%LOG%"
if exist "%OLDLOG%" del "%OLDLOG%"

for %%S in (create persistent transportable mask break writable) do call :script %%S %3

rem The trace ends here: vshadow is in no Windows, but in its SDK.
echo ==== trace>> "%OUT%"
%VSS% log --normal >> "%OUT%" 2>&1
echo ==== differences>> "%OUT%"
if not exist expected.trace goto notrace
%VSS% log --compare expected.trace >> "%OUT%" 2>&1
if errorlevel 1 set FAILED=1
goto vshadow
:notrace
echo there is no expected.trace beside run.cmd>> "%OUT%"
set FAILED=1

:vshadow
echo ==== vshadow>> "%OUT%"
vshadow -nw -p -t=vshadow.xml %3 >> "%OUT%" 2>&1
vshadow -i=vshadow.xml >> "%OUT%" 2>&1
>> "%OUT%" echo status %ERRORLEVEL%

echo ==== bundle>> "%OUT%"
%VSS% doctor --bundle "%HERE%bundle.txt" > "%HERE%doctor.txt" 2>&1
if exist bundle.txt type bundle.txt >> "%OUT%"
if "%FAILED%"=="0" echo every script ended well, and the provider was called as is expected
if not "%FAILED%"=="0" echo not all is as expected: see "status" and "differences" in the result
echo the result is in %OUT%
exit /b %FAILED%

:script
echo ==== diskshadow %1>> "%OUT%"
%DISKSHADOW% /s %1.dsh %2 >> "%OUT%" 2>&1
set STATUS=%ERRORLEVEL%
>> "%OUT%" echo status %STATUS%
if not "%STATUS%"=="0" set FAILED=1
goto :eof

:usage
echo usage: run.cmd CODE PORTAL VOLUME [TARGET [CHAPNAME CHAPSECRET]]
exit /b 2
