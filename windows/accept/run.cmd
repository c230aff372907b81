@echo off
rem run.cmd - one command for a real Windows Server: install, enrol, make and use shadow copies, collect all.
rem     run.cmd CODE PORTAL VOLUME      as administrator; VOLUME is a scratch volume on a disk of Tarn, such as T:
rem Read doc/windows-testing.md first.  The result is accept.txt beside this file; nothing of it is secret.
setlocal
if "%~3"=="" goto usage
set HERE=%~dp0
set OUT=%HERE%accept.txt
set VSS="%ProgramFiles%\Tarn\tarn-vss.exe"
set LOG=%ProgramData%\Tarn\tarn-vss.log
cd /d "%HERE%"
echo Tarn acceptance on %COMPUTERNAME%> "%OUT%"

echo ==== install>> "%OUT%"
start "" /wait msiexec /i "%HERE%tarn.msi" /qn SERVERCODE=%1
>> "%OUT%" echo status %ERRORLEVEL%
echo ==== targets>> "%OUT%"
iscsicli QAddTargetPortal %2 >> "%OUT%" 2>&1
iscsicli ListTargets >> "%OUT%" 2>&1
echo ==== doctor>> "%OUT%"
%VSS% doctor >> "%OUT%" 2>&1
if exist "%LOG%" del "%LOG%"

echo ==== diskshadow create>> "%OUT%"
diskshadow /s create.dsh %3 >> "%OUT%" 2>&1
>> "%OUT%" echo status %ERRORLEVEL%
echo ==== diskshadow persistent>> "%OUT%"
diskshadow /s persistent.dsh %3 >> "%OUT%" 2>&1
>> "%OUT%" echo status %ERRORLEVEL%
echo ==== diskshadow transportable>> "%OUT%"
diskshadow /s transportable.dsh %3 >> "%OUT%" 2>&1
>> "%OUT%" echo status %ERRORLEVEL%
echo ==== vshadow>> "%OUT%"
vshadow -nw -p -t=vshadow.xml %3 >> "%OUT%" 2>&1
vshadow -i=vshadow.xml >> "%OUT%" 2>&1
>> "%OUT%" echo status %ERRORLEVEL%

echo ==== trace>> "%OUT%"
%VSS% log --normal >> "%OUT%" 2>&1
if not exist expected.trace goto bundle
echo ==== differences>> "%OUT%"
%VSS% log --compare expected.trace >> "%OUT%" 2>&1

:bundle
%VSS% doctor --bundle "%HERE%bundle.txt" > "%HERE%doctor.txt" 2>&1
if exist bundle.txt type bundle.txt >> "%OUT%"
echo the result is in %OUT%
exit /b 0

:usage
echo usage: run.cmd CODE PORTAL VOLUME
exit /b 2
